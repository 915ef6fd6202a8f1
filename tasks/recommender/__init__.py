"""The ranker: encoder, history, behaviour statistics, head, and few-shot fine-tuning."""
