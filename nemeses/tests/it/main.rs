mod faults;
mod schedules;
mod scripted;
