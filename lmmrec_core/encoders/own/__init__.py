"""An encoder of the user's own, described in a settings file."""
