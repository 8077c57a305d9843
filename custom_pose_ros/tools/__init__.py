"""Thin command lines over the library."""
