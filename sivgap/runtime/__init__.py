"""What any long-running program needs: signals, display, random numbers, threads, sanitized text."""
