"""The course without a screen: papermill runs, recorded numbers, the report, the committed outputs."""
