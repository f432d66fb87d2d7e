"""Train small prompts in front of a frozen multilingual encoder, many runs at a time."""
