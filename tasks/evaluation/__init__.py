"""Ranking metrics, the paired contest of champion and challenger, and the promotion rule."""
