//! Things by what tells them apart, each with a number, in little memory.

use std::hash::{BuildHasher, Hash, RandomState};

const FREE: u32 = u32::MAX;

/// Entries in the order in which they came, found by a key that each holds: `key_of`, which must always be the same.
/// Beside the entries it takes 5 to 11 bytes for each.
pub(crate) struct Table<Entry> {
    pub(crate) entries: Vec<Entry>,
    /// Open addressing: at most three quarters are taken.
    slots: Vec<u32>,
    // Apps choose the keys.
    random: RandomState,
}

impl<Entry> Table<Entry> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), slots: vec![FREE; 16], random: RandomState::new() }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("tables are limited")
    }

    /// The number of the entry with a key.
    pub(crate) fn find<Key: Eq + Hash>(&self, key: &Key, key_of: impl Fn(&Entry) -> Key) -> Option<u32> {
        let mut slot = self.first_slot(key);
        while self.slots[slot] != FREE {
            let number = self.slots[slot];
            if key_of(&self.entries[number as usize]) == *key {
                return Some(number);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// Adds an entry whose key isn't there yet.
    pub(crate) fn push<Key: Eq + Hash>(&mut self, entry: Entry, key_of: impl Fn(&Entry) -> Key) -> u32 {
        let number = self.len();
        self.entries.push(entry);
        if self.entries.len() * 4 > self.slots.len() * 3 {
            self.index(self.slots.len() * 2, key_of);
        } else {
            self.take_slot(&key_of(&self.entries[number as usize]), number);
        }
        number
    }

    /// Forgets all entries from a number on.
    pub(crate) fn truncate<Key: Eq + Hash>(&mut self, count: u32, key_of: impl Fn(&Entry) -> Key) {
        if count < self.len() {
            self.entries.truncate(count as usize);
            self.index(self.slots.len(), key_of);
        }
    }

    fn index<Key: Eq + Hash>(&mut self, slots: usize, key_of: impl Fn(&Entry) -> Key) {
        // Never two of them at once.
        self.slots = Vec::new();
        self.slots = vec![FREE; slots];
        for number in 0..self.len() {
            self.take_slot(&key_of(&self.entries[number as usize]), number);
        }
    }

    fn take_slot(&mut self, key: &impl Hash, number: u32) {
        let mut slot = self.first_slot(key);
        while self.slots[slot] != FREE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = number;
    }

    fn first_slot(&self, key: &impl Hash) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
        let hash = self.random.hash_one(key) as usize;
        hash & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn entries_are_found_by_their_keys_however_many_come_and_go() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut table = Table::new();
        let mut model: HashMap<u16, u32> = HashMap::new();
        for _ in 0..20_000 {
            let key = random.u16(..3000);
            assert_eq!(table.find(&key, |&entry| entry), model.get(&key).copied());
            model.entry(key).or_insert_with(|| table.push(key, |&entry| entry));
            if random.u32(..2000) == 0 {
                let kept = random.u32(..=table.len());
                table.truncate(kept, |&entry| entry);
                model.retain(|_, number| *number < kept);
            }
        }
        assert!(table.len() > 100 && table.entries.len() == model.len());
    }
}
