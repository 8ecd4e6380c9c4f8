"""The physics of a centrifugal pump, one plain function per formula, in SI units and over arrays of pumps.

Source: M. Daigle and K. Goebel, "Model-based prognostics with concurrent damage progression processes", IEEE
Transactions on Systems, Man, and Cybernetics: Systems 43(3), 535-546, 2013, doi 10.1109/TSMCA.2012.2207109. Relations
and constants are theirs where nothing else is said. Their internal leak, less than a millionth of the flow, is left
out; speed and flow, which settle within seconds, are taken at their steady values.

Every array has the shape [pumps] where its docstring says nothing else. Valid below the synchronous speed and up to
the published full load, 377 rad/s.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Floats = NDArray[np.float64]

# Hydraulics
NEW_IMPELLER = 12.7084  # A of a new pump: head per squared speed [Pa s2]
HEAD_PER_FLOW = 17984.6  # b: head per speed and flow [Pa s2/m3]
FLOW_COEFFICIENT = 8.24123e-5  # c [m3/s per sqrt(Pa)]
PIPE_RESISTANCE = 1.0e7  # ours: what the flow adds to the discharge pressure [Pa s2/m6]

# Motor
PHASES = 3  # n
POLE_PAIRS = 1  # p
STATOR_RESISTANCE = 0.36  # R1 [ohm]
ROTOR_RESISTANCE = 0.076  # R2 [ohm]
INDUCTANCE = 6.3e-4  # L1 [H]
VOLTS_PER_SPEED = 1.25  # V: the supply keeps it in proportion to its frequency, 471.2 V at 377 rad/s [V s/rad]

# Torque that the shaft asks for
SHAFT_FRICTION = 0.008  # r [N m s]
TORQUE_SPEED_SPEED = 1.49204e-3  # a0 [N m s2]
TORQUE_SPEED_FLOW = 5.77703  # a1 [N m s2/m3]
TORQUE_FLOW_FLOW = 9179.4  # a2 [N m s2/m6]

# Bearings and oil. The published friction and heat capacities share one scale of power: temperatures are in kelvin.
NEW_THRUST_FRICTION = 1.4e-6
NEW_RADIAL_FRICTION = 1.8e-6
THRUST_CAPACITY, THRUST_TO_AIR, THRUST_TO_OIL = 7.3, 0.0034, 0.0026
RADIAL_CAPACITY, RADIAL_TO_AIR, RADIAL_TO_OIL = 2.4, 0.0018, 0.020
OIL_CAPACITY, OIL_FROM_THRUST, OIL_FROM_RADIAL, OIL_TO_AIR = 8000.0, 1.0, 3.0, 1.5

# What counts as failed
IMPELLER_LIMIT = 9.5
BEARING_LIMIT = 370.0  # [K]
OIL_LIMIT = 350.0  # [K]

SECONDS_PER_HOUR = 3600.0
SPEED_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Conditions:
    """How pumps are operated: set (synchronous) speed [rad/s], zero at rest, and what is around them [K, Pa, Pa]."""

    set_speed: Floats
    ambient: Floats
    suction_pressure: Floats
    network_pressure: Floats


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where pump, pipe and motor balance: speed [rad/s], flow [m3/s], discharge pressure [Pa], motor power [W]."""

    speed: Floats
    flow: Floats
    discharge_pressure: Floats
    motor_power: Floats


def discharge_pressure(network_pressure: Floats, flow: Floats) -> Floats:
    """Pressure behind the pump [Pa]: the network's, and the pipe's loss on top. Ours: the paper takes it as given."""
    # p_network + k Q²
    return network_pressure + PIPE_RESISTANCE * flow**2


def steady_flow(impeller: Floats, speed: Floats, suction_pressure: Floats, network_pressure: Floats) -> Floats:
    """Flow [m3/s] through the pump; zero where the check valve holds the network back.

    Published: Q = c sqrt(A w² + b w Q + p_suction - p_discharge). With the pipe's loss in p_discharge, Q is the
    positive root of a quadratic.
    """
    # (1/c² + k) Q² - b w Q - (A w² + p_suction - p_network) = 0
    curvature = 1 / FLOW_COEFFICIENT**2 + PIPE_RESISTANCE
    half_slope = 0.5 * HEAD_PER_FLOW * speed / curvature
    shut_off = (impeller * speed**2 + suction_pressure - network_pressure) / curvature
    return np.where(shut_off > 0, half_slope + np.sqrt(half_slope**2 + np.maximum(shut_off, 0)), 0.0)


def load_torque(speed: Floats, flow: Floats, bearing_friction: Floats) -> Floats:
    """Torque that fluid and friction ask of the shaft [N m]; `bearing_friction` is that of both bearings together."""
    # (r + r_bearings) w - a2 Q² + a1 w Q + a0 w²
    friction = (SHAFT_FRICTION + bearing_friction) * speed
    return friction - TORQUE_FLOW_FLOW * flow**2 + TORQUE_SPEED_FLOW * speed * flow + TORQUE_SPEED_SPEED * speed**2


def motor_speed(torque: Floats, synchronous_speed: Floats) -> Floats:
    """Speed [rad/s] at which the induction motor gives this torque [N m]; its slip is s = (w_sync - w) / w_sync.

    The published torque, n p R2/s V² / (w_sync ((R1 + R2/s)² + (w_sync L1)²)), is a quadratic in x = R2/s. The larger
    root is the stable one, close to the synchronous speed.
    """
    # x² + (2 R1 - K) x + R1² + (w_sync L1)² = 0,  K = n p V² / (w_sync torque),  w = w_sync (1 - R2/x)
    strength = PHASES * POLE_PAIRS * VOLTS_PER_SPEED**2 * synchronous_speed / torque
    half = 0.5 * strength - STATOR_RESISTANCE
    rotor = half + np.sqrt(half**2 - STATOR_RESISTANCE**2 - (synchronous_speed * INDUCTANCE) ** 2)
    return synchronous_speed * (1 - ROTOR_RESISTANCE / rotor)


def motor_power(speed: Floats, synchronous_speed: Floats) -> Floats:
    """Electric power drawn [W]: what crosses the air gap and what the stator loses. Ours, from the same circuit."""
    # n I² (R1 + R2/s),  I = V / sqrt((R1 + R2/s)² + (w_sync L1)²)
    resistance = STATOR_RESISTANCE + ROTOR_RESISTANCE * synchronous_speed / (synchronous_speed - speed)
    voltage = VOLTS_PER_SPEED * synchronous_speed
    return PHASES * voltage**2 * resistance / (resistance**2 + (synchronous_speed * INDUCTANCE) ** 2)


def operating_point(conditions: Conditions, impeller: Floats, bearing_friction: Floats) -> OperatingPoint:
    """The steady state in which the motor gives the torque that the fluid asks for at the flow that the pipe allows."""
    suction, network = conditions.suction_pressure, conditions.network_pressure
    runs = conditions.set_speed > 0
    synchronous = np.where(runs, conditions.set_speed, 300.0)  # keeps the formulas finite for pumps at rest
    speed = 0.98 * synchronous
    # The motor's torque falls with speed 25 times as steeply as the load's rises: a round gains more than a decimal.
    for _ in range(SPEED_ROUNDS):
        flow = steady_flow(impeller, speed, suction, network)
        speed = motor_speed(load_torque(speed, flow, bearing_friction), synchronous)
    power = motor_power(speed, synchronous)
    speed, flow, power = (np.where(runs, quantity, 0.0) for quantity in (speed, flow, power))
    return OperatingPoint(speed, flow, discharge_pressure(network, flow), power)


# Thrust bearing: m dT/dt = r w² - H1 (T - T_air) - H2 (T - T_oil); radial bearing: the same with its own constants;
# oil: m dT/dt = H1 (T_thrust - T) + H2 (T_radial - T) + H3 (T_air - T). All three together, with T = (thrust, radial,
# oil): dT/dt = _COUPLING T + _SOURCES (r_thrust w², r_radial w², T_air).
_COUPLING = np.array(
    [
        [-(THRUST_TO_AIR + THRUST_TO_OIL), 0.0, THRUST_TO_OIL],
        [0.0, -(RADIAL_TO_AIR + RADIAL_TO_OIL), RADIAL_TO_OIL],
        [OIL_FROM_THRUST, OIL_FROM_RADIAL, -(OIL_FROM_THRUST + OIL_FROM_RADIAL + OIL_TO_AIR)],
    ]
) / np.array([[THRUST_CAPACITY], [RADIAL_CAPACITY], [OIL_CAPACITY]])
_SOURCES = np.array(
    [
        [1 / THRUST_CAPACITY, 0.0, THRUST_TO_AIR / THRUST_CAPACITY],
        [0.0, 1 / RADIAL_CAPACITY, RADIAL_TO_AIR / RADIAL_CAPACITY],
        [0.0, 0.0, OIL_TO_AIR / OIL_CAPACITY],
    ]
)
_STEADY = -np.linalg.solve(_COUPLING, _SOURCES)
_HOUR_ON = expm(_COUPLING * SECONDS_PER_HOUR)


def steady_temperatures(thrust_friction: Floats, radial_friction: Floats, speed: Floats, ambient: Floats) -> Floats:
    """Temperatures [3, pumps] of thrust bearing, radial bearing and oil [K] once heat made is heat given off."""
    # dT/dt = 0
    return _times(_STEADY, np.stack([thrust_friction * speed**2, radial_friction * speed**2, ambient]))


def temperatures_after_an_hour(temperatures: Floats, steady: Floats) -> Floats:
    """Temperatures [3, pumps] one hour on, exact for heat and air that stay the same during the hour [K]."""
    # T(t + 1 h) = T_steady + expm(M 1 h) (T(t) - T_steady)
    return steady + _times(_HOUR_ON, temperatures - steady)


def impeller_wear(rate: Floats, flow: Floats) -> Floats:
    """Impeller area lost in an hour at this flow [m3/s]; `rate` is w_A per hour."""
    # -dA/dt = w_A Q²
    return rate * flow**2


def bearing_wear(rate: Floats, friction: Floats, speed: Floats, temperature: Floats) -> Floats:
    """Friction that a bearing gains in an hour; `rate` is k per hour, `temperature` its own [K].

    The last factor is ours: hot lubricant is thin, and every 15 K double the wear, sixteenfold at most.
    """
    # dr/dt = k r w² 2^((T - 315) / 15)
    return rate * friction * speed**2 * np.exp2(np.minimum((temperature - 315.0) / 15.0, 4.0))


def _times(matrix: Floats, vectors: Floats) -> Floats:
    """`matrix @ vectors` for [3, 3] and [3, pumps], summed in a fixed order: BLAS rounds differently with the count."""
    products = matrix[:, :, np.newaxis] * vectors[np.newaxis]
    return products[:, 0] + products[:, 1] + products[:, 2]
