"""Configuration: settings with types and bounds, and how commands are composed from them."""
