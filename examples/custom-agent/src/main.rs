//! An agent with a skill of its own: all that `rockbot-agent` does, and a stock of goods that the model can look into.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use rockbot_agent::sdk::{Context, skill};
use rockbot_agent_server::Program;

/// How many there are of each item.
struct Stock(Mutex<BTreeMap<String, u32>>);

#[skill]
impl Stock {
    /// Says how many of an item are in stock.
    #[tool]
    fn count(
        &self,
        /// Name of the item, in the singular.
        item: String,
    ) -> Result<u32, String> {
        let stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stock
            .get(&item)
            .copied()
            .ok_or_else(|| format!("{item:?} is not among our goods"))
    }

    /// Adds to the stock.
    #[tool(scope = "owner")]
    fn restock(&self, item: String, #[default(1)] amount: u32) -> u32 {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = stock.entry(item).or_default();
        *count += amount;
        *count
    }

    #[prompt(priority = 20)]
    fn goods(&self, context: &Context) -> String {
        let stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goods: Vec<_> = stock.keys().map(String::as_str).collect();
        format!("You serve {}. Our goods: {}.", context.user_id, goods.join(", "))
    }
}

fn main() -> ExitCode {
    let stock = [("chair", 4), ("table", 1)].map(|(item, count)| (item.to_owned(), count));
    Program::new().skill(Stock(Mutex::new(stock.into()))).main()
}
