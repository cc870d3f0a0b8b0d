"""Generated from proto/ by .ci/generate_proto.py; no hand edits."""
