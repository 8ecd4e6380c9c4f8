"""A simulated pumping station with published physics and a hidden truth. Imports nothing of the rest of pdm."""

from pdm.simulated_plant.lives import PumpLives, PumpTruth, simulate_pumps
from pdm.simulated_plant.sensors import PUMP_SENSORS, PumpSensor
from pdm.simulated_plant.station import Failure, FailureMode, HourReadings, PumpStation

__all__ = [
    "PUMP_SENSORS",
    "Failure",
    "FailureMode",
    "HourReadings",
    "PumpLives",
    "PumpSensor",
    "PumpStation",
    "PumpTruth",
    "simulate_pumps",
]
