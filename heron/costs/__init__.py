"""Costs of a client step: memory, operations, bytes, and the time of a round on simulated devices."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.costs.client_step import ClientStep as ClientStep
    from heron.costs.client_step import StepCost as StepCost
    from heron.costs.network import DeviceClass as DeviceClass
    from heron.costs.network import LinkModel as LinkModel
    from heron.costs.operations import StepFlops as StepFlops
    from heron.costs.operations import step_flops as step_flops
    from heron.costs.plan import largest_exact as largest_exact
    from heron.costs.plan import plan_step as plan_step
    from heron.costs.plan import possible_exact as possible_exact
    from heron.costs.profile import ClientCost as ClientCost
    from heron.costs.profile import profile_step as profile_step
    from heron.costs.round_time import Device as Device
    from heron.costs.round_time import round_seconds as round_seconds
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "ClientCost": "heron.costs.profile",
            "ClientStep": "heron.costs.client_step",
            "Device": "heron.costs.round_time",
            "DeviceClass": "heron.costs.network",
            "LinkModel": "heron.costs.network",
            "StepCost": "heron.costs.client_step",
            "StepFlops": "heron.costs.operations",
            "largest_exact": "heron.costs.plan",
            "plan_step": "heron.costs.plan",
            "possible_exact": "heron.costs.plan",
            "profile_step": "heron.costs.profile",
            "round_seconds": "heron.costs.round_time",
            "step_flops": "heron.costs.operations",
        },
    )
