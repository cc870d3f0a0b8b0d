"""The joints: reads the settings, builds the rooms, and runs them in one nursery."""
