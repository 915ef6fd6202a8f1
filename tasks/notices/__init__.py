"""Messages to people: what they say, and the way there."""
