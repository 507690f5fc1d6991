"""One module per command or group of commands; heavy imports wait until a command runs."""
