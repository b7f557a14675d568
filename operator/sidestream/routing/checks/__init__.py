"""Checks of what users have around a forked Service: each is pure and looks at one thing; `findings` runs them all."""
