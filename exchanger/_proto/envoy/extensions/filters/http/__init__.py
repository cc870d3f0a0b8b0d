"""Generated from proto/ by .ci/generate.py; no hand edits."""
