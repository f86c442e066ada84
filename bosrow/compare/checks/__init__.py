"""Whether runs may be compared: their settings match, and they ended well."""
