"""Channel formats: each module turns what a channel sends into commands. Nothing here reads a clock or a network."""
