"""The relations report: what a trained model says drives what, and how much of it held-out text supports."""
