"""What typedcb costs, measured; README.md says how to run it and what the figures mean."""
