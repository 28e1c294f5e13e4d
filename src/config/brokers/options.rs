//! Where the options of a broker stand, and their values.
//!
//! They are taken whole from the first of these places that holds any, as RoadRunner does:
//! `broadcast.<name>.config`; beside the driver; the root section of the broker's name; that of its
//! driver.

use std::time::Duration;

use super::keys;
use crate::config::error::{ConfigError, Origin};
use crate::config::key::Value;
use crate::config::reader::Reader;
use crate::config::schema;
use crate::config::settings::Settings;

/// The options of one broker.
pub struct Options<'a> {
    read: &'a Reader<'a>,
    /// Where they stand; where they would, if nobody has written any.
    place: Vec<String>,
}

/// The places where options of a broker may stand, the first of which that holds any is meant.
fn places(settings: &Settings, name: &str, driver: &str) -> Vec<Vec<String>> {
    let mut places = vec![vec!["broadcast", name, "config"], vec!["broadcast", name]];
    // Other sections are read for something else.
    if settings.is_root(name) {
        places.push(vec![name]);
    }
    places.push(vec![driver]);
    let owned = |place: Vec<&str>| place.into_iter().map(str::to_owned).collect();
    places.into_iter().map(owned).collect()
}

/// Where the first of the options at a place was written, if it holds any.
fn first<'a>(settings: &'a Settings, place: &[String]) -> Option<&'a Origin> {
    match place {
        // Beside them stands the driver.
        [broadcast, _] if broadcast == "broadcast" => keys::leaves().find_map(|(leaf, _)| {
            let first = leaf.split('.').next().unwrap_or_default();
            settings.first_below(&[place, &[first.to_owned()]].concat())
        }),
        _ => settings.first_below(place),
    }
}

impl<'a> Options<'a> {
    /// Those of a broker of that name and driver.
    pub fn of(read: &'a Reader<'a>, name: &str, driver: &str) -> Self {
        let places = places(read.settings, name, driver);
        let found = places.iter().find(|place| first(read.settings, place).is_some());
        Self { read, place: found.unwrap_or(&places[0]).clone() }
    }

    /// Where the options stand, with dots.
    pub fn place(&self) -> String {
        self.place.join(".")
    }

    /// Where one stands, as a key.
    pub fn key(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.place())
    }

    /// Where each option stands that is written: its name, and file, line and key.
    pub fn written(&self) -> Vec<(&'static str, String)> {
        let place = |leaf: &'static str| {
            let origin = self.read.settings.first_below(&self.path(leaf))?;
            Some((leaf, format!("{origin}: {}", self.key(leaf))))
        };
        keys::leaves().filter_map(|(leaf, _)| place(leaf)).collect()
    }

    fn path(&self, leaf: &str) -> Vec<String> {
        self.place.iter().cloned().chain(leaf.split('.').map(str::to_owned)).collect()
    }

    /// Whether anything was written for an option, or below it.
    pub fn has(&self, leaf: &str) -> bool {
        self.read.settings.holds(&self.path(leaf))
    }

    /// The value in force, and where it was written.
    pub fn value(&self, leaf: &str) -> (Option<Value>, Origin) {
        let default = || (schema::known(&keys::path(leaf)).default_value(), Origin::Default);
        match self.read.settings.written(&self.path(leaf)) {
            Ok(Some((value, origin))) => (Some(value), origin),
            Ok(None) => default(),
            Err(problem) => {
                self.read.refuse(problem);
                default()
            }
        }
    }

    /// A text; empty where there is none.
    pub fn text(&self, leaf: &str) -> String {
        match self.value(leaf).0 {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    pub fn flag(&self, leaf: &str) -> bool {
        self.value(leaf).0 == Some(Value::Flag(true))
    }

    /// A number, 0 of which means the usual one; `None`: off.
    pub fn number(&self, leaf: &str, usual: u32) -> Option<u32> {
        match self.value(leaf).0 {
            Some(Value::Number(0)) | None => Some(usual),
            Some(Value::Number(number)) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    /// A duration, 0 of which means the usual one; `None`: off.
    pub fn duration(&self, leaf: &str, usual: Option<Duration>) -> Option<Duration> {
        match self.value(leaf).0 {
            Some(Value::Duration(duration)) if !duration.is_zero() => Some(duration),
            Some(Value::Off) => None,
            _ => usual,
        }
    }

    pub fn words(&self, leaf: &str) -> Vec<String> {
        match self.value(leaf).0 {
            Some(Value::Words(words)) => words,
            _ => Vec::new(),
        }
    }

    /// Books a problem with an option.
    pub fn refuse(&self, leaf: &str, problem: impl Into<String>) {
        self.read.refuse(ConfigError::value(&self.value(leaf).1, self.key(leaf), problem));
    }
}

/// Of options that have no effect, where they stand, and why not.
pub fn without_effect(settings: &Settings, name: &str, driver: &str) -> Vec<(Origin, String)> {
    let places = places(settings, name, driver);
    let mut held = places.iter().filter_map(|place| Some((place, first(settings, place)?)));
    let Some((meant, _)) = held.next() else { return Vec::new() };
    let mut told = Vec::new();
    for (leaf, drivers) in keys::leaves().filter(|(leaf, _)| !leaf.contains('.')) {
        let path = [&meant[..], &[leaf.to_owned()]].concat();
        if !drivers.contains(&driver)
            && let Some(origin) = settings.first_below(&path)
        {
            let key = path.join(".");
            let why = format!("broker {name} has driver {driver}, which has no such option");
            told.push((origin.clone(), format!("{key}: has no effect: {why}")));
        }
    }
    // The last place is of all brokers of a driver, one of which may mean it.
    for (place, origin) in held.filter(|(place, _)| **place != [driver]) {
        let (key, meant) = (place.join("."), meant.join("."));
        let why = format!("the options of broker {name} stand in {meant}, which is read alone");
        told.push((origin.clone(), format!("{key}: has no effect: {why}")));
    }
    told
}
