"""The manual, and what writes the page that is made from the code."""
