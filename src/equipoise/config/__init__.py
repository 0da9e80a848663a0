"""From words to a checked config: static help, composition, keys and types, did-you-mean."""
