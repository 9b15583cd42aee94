"""From a configuration to a report: single stages or all of them, resumable."""
