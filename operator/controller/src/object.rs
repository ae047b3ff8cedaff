//! An object of a kind of ours as the API server has it, whether or not this version can read it.
//!
//! A newer version may have admitted what this one does not know, and a list is read as a whole: without this, one such object
//! would keep the operator from seeing any.

use std::{borrow::Cow, sync::Arc};

use kube::{
    Resource,
    api::{DynamicObject, ObjectMeta},
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::watches::Parent;

/// An object that is there.
#[derive(Clone, Debug)]
pub(crate) enum Object<K> {
    /// This version knows all of it.
    Readable(Arc<K>),
    /// It does not.
    Unreadable(Box<Unreadable>),
}

/// What can be told of an object that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    /// The field, and what is wrong with it.
    pub(crate) why: String,
    /// All of it.
    pub(crate) object: DynamicObject,
}

impl<K> Object<K> {
    /// The object, if it can be read.
    pub(crate) fn readable(&self) -> Option<&Arc<K>> {
        match self {
            Self::Readable(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }
}

impl Unreadable {
    /// What was reported of it.
    pub(crate) fn status(&self) -> &Value {
        &self.object.data["status"]
    }
}

impl<'de, K: Parent> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match serde_path_to_error::deserialize(&value) {
            Ok(object) => Self::Readable(Arc::new(object)),
            Err(error) => Self::Unreadable(Box::new(Unreadable {
                why: format!("{}: {}", error.path(), error.inner()),
                object: DynamicObject::deserialize(value).map_err(D::Error::custom)?,
            })),
        })
    }
}

impl<K: Parent> Resource for Object<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(unreadable) => &unreadable.object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => Arc::make_mut(object).meta_mut(),
            Self::Unreadable(unreadable) => &mut unreadable.object.metadata,
        }
    }
}
