"""The daemon: when to work, who is told, who looks on."""
