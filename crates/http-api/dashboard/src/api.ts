// Requests to the server, typed by its own document.

import { signal } from '@preact/signals'
import type { components } from './api-types.ts'

type Schemas = components['schemas']
export type Problem = Schemas['ProblemDocument']
export type Finding = Schemas['Finding'] & { line?: number | null; column?: number | null }
export type Cluster = Schemas['ClusterEntry']
export type ClusterChange = Schemas['ClusterChange']
export type Status = Schemas['StatusDocument']
export type Member = Schemas['MemberStatus']
export type Certificates = Schemas['CertificatesDocument']
export type Hosts = Schemas['HostsDocument']
export type Point = Schemas['Point']
export type Report = Schemas['VerifyDocument']
export type Plan = Schemas['PlanDocument']
export type Stage = Schemas['StageDocument']
export type Operation = Schemas['OperationDocument']
export type Event = Schemas['Event']
export type History = Schemas['HistoryDocument']
export type Snapshots = Schemas['SnapshotList']
export type Snapshot = Schemas['SnapshotEntry']
export type SnapshotChecked = Schemas['SnapshotChecked']
export type SnapshotDrilled = Schemas['SnapshotDrilled']
export type Token = Schemas['Token']
export type NewToken = Schemas['NewToken']
export type AuditEntry = Schemas['AuditEntry']
export type Role = Schemas['Role']
export type Explained = Schemas['Explained']

/** Who is signed in, and until when. */
export interface Session {
  secret: string
  name: string
  role: Role
  ends: string | null
}

const KEPT = 'etcdup-session'

function kept(): Session | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? 'null') as Session | null
  } catch {
    return null
  }
}

/** Kept for this tab alone, and gone with it. */
export const session = signal<Session | null>(kept())

/** Since when the server is not reached; null while it is. */
export const offline = signal<number | null>(null)

export function signIn(next: Session | null): void {
  session.value = next
  if (next === null) sessionStorage.removeItem(KEPT)
  else sessionStorage.setItem(KEPT, JSON.stringify(next))
}

/** What the server refuses, or that it is not reached. */
export class Refused extends Error {
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.detail)
    this.problem = problem
  }
}

function unreached(): Problem {
  return {
    type: 'urn:etcdup:offline',
    title: 'server unreachable',
    status: 0,
    detail: 'no answer came; trying again',
    advice: '',
    findings: [],
    request: '',
  }
}

export interface Answer<T> {
  body: T
  headers: Headers
}

export interface Options {
  body?: unknown
  text?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** Asks, and gives the answer with its headers. */
export async function ask<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { ...options.headers }
  if (session.value) headers['Authorization'] = `Bearer ${session.value.secret}`
  let body: string | null = null
  if (options.text !== undefined) {
    headers['Content-Type'] = 'text/plain'
    body = options.text
  } else if (options.body !== undefined) {
    headers['Content-Type'] = 'application/json'
    body = JSON.stringify(options.body)
  }
  let response: Response
  try {
    const signal = options.signal ?? null
    response = await fetch(`.${path}`, { method, headers, body, signal })
  } catch (error) {
    if (options.signal?.aborted) throw error
    offline.value ??= Date.now()
    throw new Refused(unreached())
  }
  offline.value = null
  const kind = response.headers.get('Content-Type') ?? ''
  const read: unknown = kind.includes('json') ? await response.json() : await response.text()
  if (!response.ok) {
    // The page stays where it is, and goes on there after signing in again.
    if (response.status === 401 && session.value) signIn(null)
    throw new Refused(read as Problem)
  }
  return { body: read as T, headers: response.headers }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask<T>('GET', path, signal ? { signal } : {})).body
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  return (await ask<T>('POST', path, { body })).body
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 }

/** Whether whoever is signed in may do what this role may. */
export function may(role: Role): boolean {
  return session.value !== null && RANK[session.value.role] >= RANK[role]
}
