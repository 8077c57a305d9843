"""What `make bench` measures, one subject in each module; test/benchmarks/bench.py runs them."""
