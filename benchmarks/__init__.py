"""Speed, forecasts, decisions and the simulated plant, each measured against something else in the same run."""
