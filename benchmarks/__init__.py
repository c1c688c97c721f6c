"""Measurements: run by hand or at night; what they measure is never asserted in a timed test."""
