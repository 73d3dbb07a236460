"""papermill: phases run unattended, one notebook and its kernel."""
