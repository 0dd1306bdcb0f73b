"""How good a finished song is, and where its words are: scores, ranks and lyric timestamps."""
