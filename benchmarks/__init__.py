"""Benchmarks of speed, memory and accuracy. They print measurements; they are not tests."""
