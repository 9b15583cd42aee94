"""From a configuration to a report: every stage alone, or all of them, resumable."""
