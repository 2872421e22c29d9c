"""Floor 6: the command line. One subcommand, one file; nothing heavy is imported before a command runs."""
