"""Stages (the modules beside this file, which are Prefect tasks) and the nouns they call.

A noun, one of the folders below, computes and never imports Prefect.
"""
