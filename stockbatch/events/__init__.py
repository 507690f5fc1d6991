"""Where the dates of events come from: reports of companies, stated ahead or looked up."""
