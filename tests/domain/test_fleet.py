"""The fleet in memory."""

from tracker.domain.fleet import Asset, Device, Fleet, Thresholds


def fleet_of_two() -> Fleet:
    fleet = Fleet()
    fleet.put_asset(Asset(1, "van", active_device=10))
    fleet.put_device(Device(10, "phone", 1))
    fleet.put_device(Device(11, "spare", 1))
    return fleet


def test_only_the_active_device_moves_its_asset() -> None:
    fleet = fleet_of_two()
    assert not fleet.is_standby(fleet.devices[10])
    assert fleet.is_standby(fleet.devices[11])


def test_without_an_active_device_nobody_stands_by() -> None:
    fleet = fleet_of_two()
    fleet.put_asset(Asset(1, "van"))
    assert not fleet.is_standby(fleet.devices[11])


def test_a_device_whose_asset_is_gone_does_not_stand_by() -> None:
    fleet = fleet_of_two()
    fleet.remove_asset(1)
    assert not fleet.is_standby(fleet.devices[11])


def test_limits_are_those_of_each_asset_and_the_defaults_of_one_that_is_gone() -> None:
    fleet = fleet_of_two()
    fleet.put_asset(Asset(2, "walker", thresholds=Thresholds(max_speed_mps=5.0)))
    max_speed_mps, max_accuracy_m = fleet.limits([1, 2, 2, 3])
    assert max_speed_mps.tolist() == [350, 5, 5, 350]
    assert max_accuracy_m.tolist() == [1_000] * 4
    assert [limits.tolist() for limits in fleet.limits([])] == [[], []]


def test_every_change_makes_a_new_version() -> None:
    fleet, versions = fleet_of_two(), list[int]()
    versions.append(fleet.version)
    fleet.put_asset(Asset(2, ""))
    versions.append(fleet.version)
    fleet.put_device(Device(12, "", 2))
    versions.append(fleet.version)
    fleet.remove_device(12)
    versions.append(fleet.version)
    fleet.remove_asset(2)
    versions.append(fleet.version)
    fleet.remove_asset(2)
    assert [*versions, fleet.version] == sorted({*versions, fleet.version})
    assert (set(fleet.assets), set(fleet.devices)) == ({1}, {10, 11})
