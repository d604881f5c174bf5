// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use super::*;

#[test]
fn geometry_follows_the_ipa_width() {
    for (bits, level, order) in [
        (32, 2, 2),
        (34, 2, 4),
        (40, 1, 1),
        (42, 1, 3),
        (44, 0, 0),
        (48, 0, 0),
    ] {
        let geometry = Geometry::new(bits).unwrap();
        assert_eq!(geometry.start_level.raw(), level, "{bits} bits");
        assert_eq!(geometry.root_order, order, "{bits} bits");
    }
    assert_eq!(Geometry::new(31), None);
    assert_eq!(Geometry::new(49), None);
}
