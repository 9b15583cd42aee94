"""What the benchmarks are made of: standard cases, timing, peers, records, tables and plots."""
