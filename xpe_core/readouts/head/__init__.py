"""A classification head over one pooled state."""
