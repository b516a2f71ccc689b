"""What an account sees of its inbox, and what it does there."""
