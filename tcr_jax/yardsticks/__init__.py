"""Yardsticks: what a trained dictionary and its process are worth, on documents that training never saw."""
