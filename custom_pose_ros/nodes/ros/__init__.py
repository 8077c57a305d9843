"""What both nodes share: parameters, quality of service, lifecycle, diagnostics, message conversions."""
