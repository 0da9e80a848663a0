"""From words to a checked config: where configs lie, static help, composition, keys and types, did-you-mean."""
