// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The interleavings of two PEs on a few granules, under the memory model of loom.
//!
//! The files of the crate are compiled here over loom's atomics. The memory behind the granules is
//! checked too: two views of one granule that are not ordered by what the word says are an error, as is
//! a lock that nobody ever gives back.

#![expect(
    unreachable_pub,
    dead_code,
    clippy::needless_pass_by_ref_mut,
    reason = "the files are public, and used, where they are a crate"
)]

#[path = "../src/in_use.rs"]
mod in_use;
#[path = "../src/locked.rs"]
mod locked;
#[path = "../src/mapped.rs"]
mod mapped;
#[path = "../src/state.rs"]
mod state;
#[path = "../src/table.rs"]
mod table;
#[path = "../src/window.rs"]
mod window;
#[path = "../src/word.rs"]
mod word;

mod sync {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU16, Ordering};
}

use core::cell::RefCell;
use core::ptr::NonNull;

use loom::cell::{MutPtr, UnsafeCell};
use loom::sync::Arc;
use loom::thread;
use rmi::{GRANULE_SIZE, GranuleAddr, PhysAddr};

use crate::locked::{Locked, Unavailable};
use crate::state::{Contained, Delegated, Page, Pinned, State, StateCode, Undelegated};
use crate::table::{Bank, GranuleTable};
use crate::window::{AccessFault, GranuleWindow};
use crate::word::{GranuleWord, MAX_COUNT};

/// Address of the first granule.
const BASE: u64 = 0x8000_0000;

/// A table: the address of another one, or zero.
#[derive(Debug)]
enum Table {}
impl State for Table {
    const CODE: StateCode = StateCode::Rtt;
    type Header = ();
    type Contents = [u64; 2];
}
impl Contained for Table {}

/// What a PE can use for itself.
#[derive(Debug)]
enum Context {}
impl State for Context {
    const CODE: StateCode = StateCode::Rec;
    type Header = ();
    type Contents = [u64; 2];
}
impl Pinned for Context {}

/// The memory and the words of some granules.
struct Machine {
    memory: Vec<UnsafeCell<Page>>,
    words: Vec<GranuleWord>,
}

// SAFETY: loom checks every access to the cells; that is what these tests are about.
unsafe impl Sync for Machine {}
// SAFETY: as for `Sync`.
unsafe impl Send for Machine {}

fn address(n: usize) -> GranuleAddr {
    GranuleAddr::new(BASE + n as u64 * GRANULE_SIZE).unwrap()
}

fn phys(n: usize) -> PhysAddr {
    address(n).phys()
}

/// One PE's windows: the views it holds.
struct Pe {
    machine: Arc<Machine>,
    views: RefCell<Vec<MutPtr<Page>>>,
}

// SAFETY: a view is the memory of the granule, which lives as long as the machine.
unsafe impl GranuleWindow for Pe {
    fn map(&self, granule: GranuleAddr) -> NonNull<u8> {
        let n = (granule.raw() - BASE) / GRANULE_SIZE;
        let view = self.machine.memory[n as usize].get_mut();
        let base = view.with(|page| NonNull::new(page).unwrap().cast());
        self.views.borrow_mut().push(view);
        base
    }

    unsafe fn unmap(&self, at: NonNull<u8>) {
        let is_it = |view: &MutPtr<Page>| view.with(|page| page.cast() == at.as_ptr());
        let n = self.views.borrow().iter().position(is_it).unwrap();
        drop(self.views.borrow_mut().remove(n));
    }

    unsafe fn zero(&self, granule: GranuleAddr) -> Result<(), AccessFault> {
        let n = (granule.raw() - BASE) / GRANULE_SIZE;
        // SAFETY: `with_mut` checks that nobody else uses the page.
        self.machine.memory[n as usize].with_mut(|page| unsafe { (*page).0.fill(0) });
        Ok(())
    }
}

impl Pe {
    fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            views: RefCell::default(),
        }
    }

    /// Calls `work` with the table of the machine's granules.
    fn with<R>(&self, work: impl FnOnce(&GranuleTable<'_>, &Self) -> R) -> R {
        let banks = [Bank::new(address(0), &self.machine.words)];
        work(&GranuleTable::new(&banks), self)
    }
}

/// Tries every order of what `pes` do to `granules` granules, which are delegated and then prepared.
fn explore(
    granules: usize,
    prepare: fn(&GranuleTable<'_>, &Pe),
    pes: &'static [fn(&GranuleTable<'_>, &Pe)],
    finish: fn(&GranuleTable<'_>, &Pe),
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let machine = Arc::new(Machine {
            memory: (0..granules)
                .map(|_| UnsafeCell::new(Page([0; 4096])))
                .collect(),
            words: (0..granules).map(|_| GranuleWord::new()).collect(),
        });
        let here = Pe::new(&machine);
        here.with(|table, pe| {
            for n in 0..granules {
                let granule = table.lock::<Undelegated>(phys(n)).unwrap();
                drop(granule.admit(pe));
            }
            prepare(table, pe);
        });
        let others: Vec<_> = pes[1..]
            .iter()
            .map(|work| {
                let pe = Pe::new(&machine);
                thread::spawn(move || pe.with(work))
            })
            .collect();
        here.with(pes[0]);
        others.into_iter().for_each(|pe| pe.join().unwrap());
        here.with(finish);
    });
}

fn nothing(_: &GranuleTable<'_>, _: &Pe) {}

fn make_table<'m>(table: &GranuleTable<'m>, pe: &Pe, n: usize, child: u64) -> Locked<'m, Table> {
    let granule = table.lock::<Delegated>(phys(n)).unwrap();
    let mut made = granule.into_state::<Table>();
    *made.map_mut(pe) = [child; 2];
    made.raise(u16::from(child != 0));
    made
}

#[test]
fn lock_excludes() {
    fn add(table: &GranuleTable<'_>, pe: &Pe) {
        let mut granule = table.lock::<Table>(phys(0)).unwrap();
        granule.map_mut(pe)[0] += 1;
    }
    explore(
        1,
        |table, pe| drop(make_table(table, pe, 0, 0)),
        &[add, add],
        |table, pe| {
            let granule = table.lock::<Table>(phys(0)).unwrap();
            assert_eq!(granule.map(pe)[0], 2);
        },
    );
}

#[test]
fn new_state_comes_with_its_contents() {
    fn read(table: &GranuleTable<'_>, pe: &Pe) {
        if let Ok(granule) = table.lock::<Table>(phys(0)) {
            assert_eq!(*granule.map(pe), [7; 2]);
        }
    }
    explore(
        1,
        nothing,
        &[|table, pe| drop(make_table(table, pe, 0, 7)), read],
        nothing,
    );
}

#[test]
fn unused_granule_is_zero_whoever_finds_it() {
    fn wipe(table: &GranuleTable<'_>, pe: &Pe) {
        let granule = table.lock::<Table>(phys(0)).unwrap();
        drop(granule.wipe(pe));
    }
    fn find(table: &GranuleTable<'_>, pe: &Pe) {
        if let Ok(mut granule) = table.lock::<Delegated>(phys(0)) {
            assert_eq!(granule.map(pe).0[..16], [0; 16]);
            granule.map_mut(pe).0[0] = 1;
            drop(granule.wipe(pe));
        }
    }
    explore(
        1,
        |table, pe| {
            let mut made = make_table(table, pe, 0, 7);
            made.lower(1);
        },
        &[wipe, find],
        nothing,
    );
}

#[test]
fn context_belongs_to_one_pe_without_the_lock() {
    fn run(table: &GranuleTable<'_>, pe: &Pe) {
        let granule = table.lock::<Context>(phys(0)).unwrap();
        if let Ok(mut in_use) = granule.pin() {
            in_use.map_mut(pe)[0] += 1;
            in_use.map_mut(pe)[1] += 1;
        }
    }
    fn look(table: &GranuleTable<'_>, pe: &Pe) {
        let mut granule = table.lock::<Context>(phys(0)).unwrap();
        if let Ok(context) = granule.map_idle(pe) {
            assert_eq!(context[0], context[1]);
        }
    }
    fn prepare(table: &GranuleTable<'_>, _: &Pe) {
        let granule = table.lock::<Delegated>(phys(0)).unwrap();
        drop(granule.into_state::<Context>());
    }
    fn finish(table: &GranuleTable<'_>, pe: &Pe) {
        let mut granule = table.lock::<Context>(phys(0)).unwrap();
        let context = granule.map_idle(pe).expect("nobody uses it");
        assert!((1..=2).contains(&context[0]));
    }
    explore(1, prepare, &[run, run], finish);
    explore(1, prepare, &[run, look], finish);
}

#[test]
fn sets_are_locked_in_one_order() {
    fn forth(table: &GranuleTable<'_>, pe: &Pe) {
        let both = table.lock_set2::<Table, Table>(phys(0), phys(1));
        let (mut a, mut b) = both.unwrap();
        a.map_mut(pe)[0] += 1;
        b.map_mut(pe)[0] += 1;
    }
    fn back(table: &GranuleTable<'_>, pe: &Pe) {
        let both = table.lock_set2::<Table, Table>(phys(1), phys(0));
        let (mut a, mut b) = both.unwrap();
        a.map_mut(pe)[0] += 1;
        b.map_mut(pe)[0] += 1;
    }
    explore(
        2,
        |table, pe| {
            drop(make_table(table, pe, 0, 0));
            drop(make_table(table, pe, 1, 0));
        },
        &[forth, back],
        |table, pe| {
            let (a, b) = table.lock_set2::<Table, Table>(phys(0), phys(1)).unwrap();
            assert_eq!((a.map(pe)[0], b.map(pe)[0]), (2, 2));
        },
    );
}

/// Walks from the first table to the last, hand over hand, as every command does.
fn walk<'m>(table: &GranuleTable<'m>, pe: &Pe) -> Locked<'m, Table> {
    let mut at = table.lock::<Table>(phys(0)).unwrap();
    loop {
        let child = at.map(pe)[0];
        let Some(child) = GranuleAddr::new(child).filter(|_| child != 0) else {
            return at;
        };
        at = table.lock_inner(&at, child);
    }
}

/// Takes the table below the first one away, unless it holds another.
fn destroy(table: &GranuleTable<'_>, pe: &Pe) {
    let mut root = table.lock::<Table>(phys(0)).unwrap();
    let child = root.map(pe)[0];
    let Some(child) = GranuleAddr::new(child).filter(|_| child != 0) else {
        return;
    };
    let child = table.lock_inner::<_, Table>(&root, child);
    if child.count() == 0 {
        root.map_mut(pe)[0] = 0;
        root.lower(1);
        drop(child.wipe(pe));
    }
}

/// Hangs the unused granule 2 under where the walk ends.
fn create(table: &GranuleTable<'_>, pe: &Pe) {
    let unused = match table.lock::<Delegated>(phys(2)) {
        Ok(unused) => unused,
        Err(Unavailable) => return,
    };
    let mut end = walk(table, pe);
    let made = unused.into_state::<Table>();
    end.map_mut(pe)[0] = made.addr().raw();
    end.raise(1);
}

fn two_tables(table: &GranuleTable<'_>, pe: &Pe) {
    drop(make_table(table, pe, 1, 0));
    drop(make_table(table, pe, 0, address(1).raw()));
}

/// Counts are right, and what is not in the tables is unused.
fn audit(table: &GranuleTable<'_>, pe: &Pe) {
    let mut tables = vec![0];
    loop {
        let at = table.lock::<Table>(phys(*tables.last().unwrap())).unwrap();
        let child = at.map(pe)[0];
        assert_eq!(at.count(), u16::from(child != 0));
        if child == 0 {
            break;
        }
        tables.push(((child - BASE) / GRANULE_SIZE) as usize);
    }
    for n in (0..3).filter(|n| !tables.contains(n)) {
        assert_eq!(table.peek(phys(n)), Some((StateCode::Delegated, 0)));
    }
    assert!(table.is_delegable(phys(0)) && MAX_COUNT > 512);
}

#[test]
fn walk_never_meets_a_table_that_is_gone() {
    fn look(table: &GranuleTable<'_>, pe: &Pe) {
        drop(walk(table, pe));
    }
    explore(3, two_tables, &[look, destroy], audit);
    explore(3, two_tables, &[destroy, destroy], audit);
}

#[test]
fn table_is_not_destroyed_under_one_that_is_created() {
    explore(3, two_tables, &[create, destroy], audit);
    explore(3, two_tables, &[create, create], audit);
}
