//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use checkers::choice::{Against, Model, Question};
use checkers::guarantees::Guarantee;
use checkers::transactions::Consistency;
use clap::{Args, Parser, Subcommand, ValueEnum};
use harness::generator::Shape;
use harness::scheduler::Clients;
use history::Value;
use history::foreign::Format;

/// Puts consensus systems on trial: real nodes, real faults, a verdict with its evidence.
#[derive(Debug, Parser)]
#[command(name = "schism", version, after_help = crate::exit::table(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test and judge it
    Run(Box<Run>),
    /// Judge a recorded run again, or a history file of this or another tool
    Check(Check),
    /// Hold a certificate against the history that it is for
    Verify(Verify),
    /// Write a history in another format
    Convert(Convert),
    /// Write a run's report again
    Report(Report),
    /// List the recorded runs
    List(List),
    /// List the systems that can be tested, with their parameters
    Systems(Listing),
    /// List the workloads
    Workloads(Listing),
    /// List the fault families and their shapes
    Nemeses(Listing),
    /// List the flaws that can be planted in a system
    Flaws(Flaws),
    /// List the error codes of operations, and what each says of the operation
    Errors(Listing),
    /// Run every planted flaw, and its clean twin, over many seeds: does the instrument work?
    Prove(Prove),
    /// Put two systems under the same seeds and faults, side by side on one page
    Compare(Box<Compare>),
    /// Run a system along the values of a parameter: where is it best, and how flat is it there?
    Sweep(Box<Sweep>),
    /// Bring virtual machines up with Vagrant, look at them, take them away
    Cluster(Cluster),
    /// Say what this machine offers, and how to get what is missing
    Doctor(Doctor),
    /// Undo what a dead agent left on this machine
    Heal(Heal),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism run paxos-kv --nemesis partition,pause --time-limit 60s
  schism run paxos-kv --flaw stale-read-leader --nemesis partition:leader --seed 7
  schism run etcd --workload register --nemesis partition --param reads=serializable
  schism run --scenario workloads/scenarios/stale-read-leader.toml
  schism run --spec store/latest/spec.json
  schism run paxos-kv --schedule store/latest/schedule.toml --seed 7
  schism run paxos-kv --cluster ssh --nodes a,b,c --user root
  schism run paxos-kv --cluster vagrant --nodes 3")]
pub struct Run {
    /// What to test: see `schism systems`
    #[arg(required_unless_present_any = ["scenario", "spec"])]
    pub system: Option<String>,
    /// Take everything not given here from a scenario file
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Take everything not given here from a run's `spec.json`, its faults and its seed too
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub spec: Option<PathBuf>,
    /// Leave out the flaw that the scenario plants
    #[arg(long, requires = "scenario")]
    pub clean: bool,
    /// Let the exit code say whether all is as the scenario expects: 0 if so, whatever the verdict; else the verdict's, and 1 in place of 0
    #[arg(long, requires = "scenario")]
    pub expect: bool,
    /// What to ask of it: see `schism workloads` [default: register]
    #[arg(long, short)]
    pub workload: Option<String>,
    /// Faults: families by comma, together by plus, shapes after a colon: `partition:one-way-in,pause+clock`, `none` [default: partition,pause,clock,kill]
    #[arg(long, short = 'f')]
    pub nemesis: Option<String>,
    /// Run exactly these faults instead of drawing some
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nemesis", "fault_length", "fault_gap", "no_leader"])]
    pub schedule: Option<PathBuf>,
    #[command(flatten)]
    pub drawing: crate::spec::Drawing,
    /// Plant a flaw: see `schism flaws SYSTEM`; may be given several times
    #[arg(long, value_name = "NAME")]
    pub flaw: Vec<String>,
    /// Set a parameter of the system, `name=value`: see `schism systems`; may be given several times
    #[arg(long, short, value_name = "K=V", value_parser = pair)]
    pub param: Vec<(String, String)>,
    #[command(flatten)]
    pub cluster: crate::machines::ClusterArgs,
    /// Length of the main phase [default: 60s]
    #[arg(long, short, value_parser = duration)]
    pub time_limit: Option<Duration>,
    /// Operations offered a second, on average [default: the system's, 200 for most]
    #[arg(long, short, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Operations open at once: number of clients [default: the system's, 10 for most; at least one a node]
    #[arg(long, short)]
    pub concurrency: Option<usize>,
    /// How clients and nodes belong together: `sticky`, each stays at its node, or `roaming`, each operation
    /// may be at another node [default: sticky]
    #[arg(long, value_name = "HOW")]
    pub clients: Option<Clients>,
    /// How the load varies: `even` gaps, or `varied`, with bursts on one key, quiet and busy stretches, at the
    /// same mean rate [default: varied]
    #[arg(long, value_name = "SHAPE")]
    pub load: Option<Shape>,
    /// After this an operation is given up, its outcome unknown [default: the system's, 3s for most]
    #[arg(long, value_parser = duration)]
    pub op_timeout: Option<Duration>,
    /// Once everything is healed, every node must serve again within this, and then take a write [default: the system's, 30s for most]
    #[arg(long, value_parser = duration)]
    pub recovery_time: Option<Duration>,
    /// Let daemons end by themselves: else a run in which one did is invalid
    #[arg(long)]
    pub may_crash: bool,
    /// Seed of everything random [default: drawn, and shown]
    #[arg(long, short, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism check latest
  schism check history.edn
  schism check history.edn.gz --model cas-register --initial 0 --certificate order.json
  schism check transactions.edn --consistency-model snapshot-isolation
  zcat operations.csv.gz | schism check -")]
pub struct Check {
    /// A run's name, `latest`, a run's folder, a history file, or `-` for standard input
    #[arg(default_value = "latest")]
    pub run: String,
    /// Judge as this workload would [default: the run's own]
    #[arg(long, short)]
    pub workload: Option<String>,
    #[command(flatten)]
    pub question: QuestionArgs,
    /// Write here what shows the verdict: an order that explains the history, or operations that have none
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Write results and report into the run's folder even if that is not in the store
    #[arg(long)]
    pub save: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is asked of a history file.
#[derive(Debug, Args)]
pub struct QuestionArgs {
    /// What a file's operations are done to [default: told by their names and values]
    #[arg(long, short, value_name = "MODEL", value_parser = model)]
    pub model: Option<Model>,
    /// What a file's transactions or registers are held against [default: strict-serializable, linearizable]
    #[arg(long, value_name = "MODEL", value_parser = consistency)]
    pub consistency_model: Option<Against>,
    /// What every object holds at the start, as EDN or JSON [default: nil; for texts, nothing]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = value)]
    pub initial: Option<Value>,
    /// Pass over a file's operations of this name, which can have changed anything; may be given again
    #[arg(long, value_name = "OPERATION")]
    pub ignore: Vec<String>,
    /// What it means that a register is read as nil: it was unwritten, or nobody knows
    #[arg(long, value_name = "MEANING", default_value = "unwritten")]
    pub nil_reads: NilReads,
}

/// What an answer of nil says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NilReads {
    Unwritten,
    Unknown,
}

impl QuestionArgs {
    pub fn question(&self) -> Question {
        Question {
            model: self.model,
            initial: self.initial.clone(),
            consistency: self.consistency_model,
            ignore: self.ignore.clone(),
            nil_reads_unknown: self.nil_reads == NilReads::Unknown,
        }
    }

    /// The flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            (self.model.is_some(), "--model"),
            (self.consistency_model.is_some(), "--consistency-model"),
            (self.initial.is_some(), "--initial"),
            (!self.ignore.is_empty(), "--ignore"),
            (self.nil_reads == NilReads::Unknown, "--nil-reads"),
        ];
        let given = flags.iter().filter(|(given, _)| *given);
        given.map(|(_, flag)| *flag).collect()
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "What is asked is told as by `schism check`: by the history and these flags, never by the \
certificate. One that answers another question proves nothing."
)]
pub struct Verify {
    /// The history file, or a run's name, `latest`, or a run's folder
    pub history: String,
    /// What `schism check --certificate` wrote
    pub certificate: PathBuf,
    /// The run was judged as this workload would [default: the run's own]
    #[arg(long, short)]
    pub workload: Option<String>,
    #[command(flatten)]
    pub question: QuestionArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
}

#[derive(Debug, Args)]
pub struct Convert {
    /// The history file, or `-` for standard input
    pub from: PathBuf,
    /// Write `jsonl` or `edn` (as Jepsen's `history.edn`)
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub to: Format,
    /// Write it here [default: standard output]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
}

#[derive(Debug, Args)]
pub struct InputArgs {
    /// How the file is written: `jsonl`, `edn`, `log`, `csv` or `operations` [default: told by its beginning]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
}

#[derive(Debug, Args)]
pub struct Report {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Write it here instead of into the run's folder
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Listing {
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Flaws {
    /// Of which system
    #[arg(default_value = "paxos-kv")]
    pub system: String,
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism prove --seeds 20 --clean-seeds 100
  schism prove --only stale-read-leader --seeds 3")]
pub struct Prove {
    /// Folder of scenario files
    #[arg(long, default_value = "workloads/scenarios", value_name = "DIR")]
    pub scenarios: PathBuf,
    /// Only these scenarios, by name
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Seeds for each flaw
    #[arg(long, default_value_t = 20)]
    pub seeds: u64,
    /// Clean runs in all, spread over the scenarios
    #[arg(long, default_value_t = 100)]
    pub clean_seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    pub first_seed: u64,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    /// Also run each flaw under the fault families that it does not need
    #[arg(long)]
    pub matrix: bool,
    /// Write the table, as Markdown, here
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What `compare` and `sweep` have in common.
#[derive(Debug, Args)]
pub struct Experiment {
    /// What to ask: see `schism workloads` [default: register]
    #[arg(long, short)]
    pub workload: Option<String>,
    #[command(flatten)]
    pub drawing: crate::spec::Drawing,
    /// Number of nodes, 1 to 9 [default: 5]
    #[arg(long)]
    pub nodes: Option<usize>,
    /// Runs of each kind, each with a seed of its own; six are the least for an interval of 95 %
    #[arg(long, default_value_t = 10)]
    pub seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    pub first_seed: u64,
    /// Length of each run's main phase
    #[arg(long, short, value_parser = duration, default_value = "30s", value_name = "DURATION")]
    pub time_limit: Duration,
    /// Operations offered a second, on average [default: 200]
    #[arg(long, short, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Operations open at once: number of clients [default: 10, at least one a node]
    #[arg(long, short)]
    pub concurrency: Option<usize>,
    /// How clients and nodes belong together: `sticky`, each stays at its node, or `roaming`, each operation
    /// may be at another node [default: sticky]
    #[arg(long, value_name = "HOW")]
    pub clients: Option<Clients>,
    /// How the load varies: `even` gaps, or `varied`, with bursts on one key, quiet and busy stretches, at the
    /// same mean rate [default: varied]
    #[arg(long, value_name = "SHAPE")]
    pub load: Option<Shape>,
    /// After this an operation is given up, its outcome unknown [default: 3s]
    #[arg(long, value_parser = duration)]
    pub op_timeout: Option<Duration>,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Write the page here [default: into the store]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

const EXPERIMENT_CODES: &str = "Exit codes:
   0  every run has a result, whatever its verdict
   4  infra    some run has none, or the harness could not do its work
  64  usage    the command line is wrong";

#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  schism compare paxos-kv etcd --seeds 10
  schism compare paxos-kv etcd --nemesis none,clock,pause,pause+clock --fault-length 2s
  schism compare paxos-kv paxos-kv --param-b reads=lease --nemesis none,pause:leader

Runs that the store already has are not made again.

{EXPERIMENT_CODES}"))]
pub struct Compare {
    /// The first system: see `schism systems`
    pub system_a: String,
    /// The second system; the same one, if the parameters differ
    pub system_b: String,
    /// Faults, as for `schism run`, but each between commas is a group of runs of its own. Every group
    /// with `clock` is also run without the clock's faults, everything else alike
    #[arg(long, short = 'f', default_value = "none,clock,pause,partition,kill")]
    pub nemesis: String,
    /// Set a parameter of both, `name=value`, or of one, `SYSTEM.name=value`; may be given several times
    #[arg(long, short, value_name = "K=V", value_parser = pair)]
    pub param: Vec<(String, String)>,
    /// Set a parameter of the first system; may be given several times
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub param_a: Vec<(String, String)>,
    /// Set a parameter of the second system; may be given several times
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub param_b: Vec<(String, String)>,
    #[command(flatten)]
    pub experiment: Experiment,
}

#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  schism sweep paxos-kv --param election-timeout=50ms..5s --tie heartbeat-interval=0.2x --tie lease=0.8x \\
      --tie max-drift=0.1x --nemesis pause:leader --fault-length 2s --fault-gap 3s
  schism sweep etcd --param election-timeout=500ms..10s --tie heartbeat-interval=0.1x --nemesis packet:delay

Runs that the store already has are not made again, so a sweep that was interrupted goes on.

{EXPERIMENT_CODES}"))]
pub struct Sweep {
    /// What to test: see `schism systems`
    pub system: String,
    /// The parameter, of the system or the workload, with the first and the last of its values: `NAME=LO..HI`
    #[arg(long, short, value_name = "NAME=LO..HI", value_parser = pair)]
    pub param: (String, String),
    /// How many values, both ends included
    #[arg(long, default_value_t = 12)]
    pub steps: usize,
    /// How they are spaced: by a factor, or by a difference
    #[arg(long, value_enum, default_value_t = Scale::Log)]
    pub scale: Scale,
    /// Another parameter, so many times the swept one: `lease=0.8x`; may be given several times
    #[arg(long, value_name = "NAME=FACTORx", value_parser = pair)]
    pub tie: Vec<(String, String)>,
    /// Another parameter, the same for all values; may be given several times
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Faults, as for `schism run`
    #[arg(long, short = 'f', default_value = "pause")]
    pub nemesis: String,
    #[command(flatten)]
    pub experiment: Experiment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    Log,
    Linear,
}

#[derive(Debug, Args)]
pub struct Cluster {
    #[command(subcommand)]
    pub command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Bring machines up, and say how to reach them
    Up {
        /// How many
        #[arg(long, short, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=9))]
        nodes: usize,
    },
    /// Say how the machines are
    Status,
    /// Destroy the machines
    Down,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the findings as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Heal {
    /// The agent's folder: where its undo journal lies
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Where runs are kept
    #[arg(long, default_value = "store", value_name = "DIR")]
    pub store: PathBuf,
}

#[derive(Debug, Args)]
pub struct BudgetArgs {
    /// How long each checker may take, and reading the history before
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub check_time: Duration,
    /// How much memory each checker may use beyond the history, and the history itself, in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub check_memory: u64,
}

impl BudgetArgs {
    pub fn budget(&self) -> checkers::Budget {
        checkers::Budget {
            time: self.check_time,
            memory_bytes: self.check_memory << 20,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    workloads::params::parse_duration(text)
        .ok_or_else(|| "write it like `500ms`, `90s` or `2m`".into())
}

fn format(text: &str) -> Result<Format, String> {
    let named = Format::ALL.into_iter().find(|format| format.name() == text);
    named.ok_or_else(|| format!("one of {}", Format::ALL.map(Format::name).join(", ")))
}

fn model(text: &str) -> Result<Model, String> {
    Model::named(text).ok_or_else(|| format!("one of {}", Model::ALL.map(Model::name).join(", ")))
}

fn consistency(text: &str) -> Result<Against, String> {
    Question::against(text).ok_or_else(|| {
        format!(
            "one of {} for transactions, and {} for registers",
            Consistency::ALL.map(Consistency::name).join(", "),
            Guarantee::ALL.map(Guarantee::name).join(", ")
        )
    })
}

fn value(text: &str) -> Result<Value, String> {
    // JSON says null where EDN says nil; else what is common to both is the same.
    let text = if text == "null" { "nil" } else { text };
    history::edn::Reader::new(text)
        .value()
        .map_err(|w| w.reason)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((k, v)) if !k.is_empty() => Ok((k.to_string(), v.to_string())),
        _ => Err("write it as `name=value`".into()),
    }
}
