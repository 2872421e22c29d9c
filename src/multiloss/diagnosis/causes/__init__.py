"""Why the total of a log is not the sum of its parts: one file for each kind of cause, none of them claimed unseen."""
