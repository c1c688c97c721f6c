"""Hutong and Orthanc side by side, on one machine and in one run: ``python -m benchmarks.dicomweb FOLDER``."""
