"""multiloss in the loops of other frameworks, each imported when it is used."""
